"""An element read by its shape says what a walk through it says, whatever is in it, whichever elements came before it."""

from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from matching.bankfiles.xmltree import MANY, Node

TEXTS = st.sampled_from(["", "x", "  a\n b ", "<&>", 'say "so"', "\r\n", "é \u2028", "]]>", "&amp;"])
NAMES = ["Amt", "Refs", "Nm", "Ustrd", "Strd", "CdtrRefInf", "Chrgs", "Rcrd", "TxDtls", "Nb"]


@st.composite
def elements(draw, name: str = "Ntry", depth: int = 3) -> etree._Element:
    prefix = draw(st.sampled_from(["{urn:a}", "{urn:b}", ""]))
    found = etree.Element(prefix + name, nsmap={draw(st.sampled_from([None, "ns"])): prefix[1:-1]} if prefix else None)
    found.text, found.tail = draw(TEXTS), draw(TEXTS)
    if draw(st.booleans()):
        found.set(draw(st.sampled_from(["Ccy", "Other", "{urn:a}Ccy"])), draw(st.sampled_from(["EUR", "", ' U"S\tD ', "<>"])))
    if depth:
        found.extend(draw(elements(each, depth - 1)) for each in draw(st.lists(st.sampled_from(NAMES), max_size=4)))
    return found


def walked(element: etree._Element) -> tuple[dict[str, str], dict[str, list[etree._Element]]]:
    """The first text at each path, the currencies beside them, and every element of `MANY`, one by one."""
    values: dict[str, str] = {}
    lists: dict[str, list[etree._Element]] = {}

    def walk(parent: etree._Element, prefix: str) -> None:
        for child in parent:
            name = etree.QName(child).localname
            path = prefix + name
            if name in MANY:
                lists.setdefault(path, []).append(child)
            if name == "TxDtls":
                values.setdefault(path, "")
                continue
            if path not in values:
                values[path] = (child.text or "").strip()
                if not len(child) and child.get("Ccy"):
                    values[path + "@"] = child.get("Ccy").strip()
            walk(child, path + "/")

    walk(element, "")
    return values, lists


def agree(node: Node, element: etree._Element) -> None:
    values, lists = walked(element)
    assert node.values == values
    for path, each in lists.items():
        assert node.number(path) == len(each)
        assert node.texts(path) == [text for one in each if (text := " ".join((one.text or "").split()))]
        for part, one in zip(node.all(path), each, strict=True):
            agree(part, one)


@given(element=elements(), other=elements())
def test_read_by_its_shape_an_element_says_what_a_walk_through_it_says(element: etree._Element, other: etree._Element) -> None:
    for number in range(20):  # from some time on by a pattern
        for one in element.iter():
            one.text = f"{number} {one.text or ''}"
        agree(Node(element), element)
    agree(Node(other), other)
    agree(Node(element), element)


def test_a_header_leaves_out_the_many() -> None:
    found = etree.fromstring("<Stmt><Id> 7 </Id><Bal><Amt Ccy='EUR'>1</Amt></Bal><Ntry><Amt>9</Amt></Ntry><Bal><Amt>2</Amt></Bal></Stmt>")
    node = Node(found, header=True)
    assert (node.text("Id"), node.number("Bal"), node.text("Ntry/Amt")) == ("7", 2, None)
    assert [each.place() for each in Node(found[1], header=True).all("Bal")] == []
    assert [each.place() for each in node.all("Bal")] == ["Bal", "Bal"]
