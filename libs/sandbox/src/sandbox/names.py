"""Invented company names, places and mailboxes. No person is named anywhere in the sandbox.

Domains end in `.example` (RFC 2606), so that no mail can ever leave.
"""

from random import Random

_FIRST = (
    "Alder", "Amarel", "Boreal", "Brisan", "Cadora", "Calvano", "Delmar", "Dorsel", "Elvane", "Farnol", "Gaveno", "Halder",
    "Irova", "Jorvel", "Kaldis", "Lorane", "Maravel", "Nordal", "Oriens", "Pelvan", "Quintal", "Rovane", "Selmar", "Tavira",
    "Ulmeno", "Valdor", "Wernau", "Xantel", "Yverna", "Zelmor",
)  # fmt: skip
_TRADE = {
    "FR": ("Mécanique", "Textiles", "Distribution", "Bâtiment", "Logistique", "Emballages", "Optique", "Menuiserie"),
    "DE": ("Maschinenbau", "Textil", "Handels", "Bau", "Logistik", "Verpackung", "Optik", "Holzwerk"),
    "BE": ("Mécanique", "Textiel", "Distribution", "Bouw", "Logistics", "Verpakking", "Optics", "Menuiserie"),
    "NL": ("Machines", "Textiel", "Handel", "Bouw", "Logistiek", "Verpakking", "Optiek", "Houtwerk"),
    "ES": ("Mecánica", "Textil", "Distribución", "Obras", "Logística", "Envases", "Óptica", "Maderas"),
}
_FORM = {"FR": ("SAS", "SARL"), "DE": ("GmbH", "AG"), "BE": ("SA", "BV"), "NL": ("B.V.", "N.V."), "ES": ("S.L.", "S.A.")}
_CITY = {
    "FR": (("69003", "Lyon"), ("31000", "Toulouse"), ("59800", "Lille"), ("44000", "Nantes")),
    "DE": (("50667", "Köln"), ("80331", "München"), ("20095", "Hamburg")),
    "BE": (("1000", "Bruxelles"), ("2000", "Antwerpen"), ("4000", "Liège")),
    "NL": (("1012 AB", "Amsterdam"), ("3011 AA", "Rotterdam")),
    "ES": (("08001", "Barcelona"), ("28001", "Madrid"), ("46001", "Valencia")),
}
_STREET = {"FR": "rue des Essais", "DE": "Musterstraße", "BE": "rue de l'Exemple", "NL": "Voorbeeldstraat", "ES": "calle de la Prueba"}


def company_name(country: str, rng: Random) -> str:
    """Such as `Boreal Logistik GmbH`."""
    return f"{rng.choice(_FIRST)} {rng.choice(_TRADE[country])} {rng.choice(_FORM[country])}"


def place(country: str, rng: Random) -> tuple[str, str, str]:
    """Street line, postcode, city."""
    postcode, city = rng.choice(_CITY[country])
    return f"{rng.randint(1, 180)} {_STREET[country]}", postcode, city


def mailbox(customer_number: str, rng: Random) -> str:
    """The mailbox for reminders. One in forty bounces, one in forty is greylisted the first time."""
    draw = rng.random()
    local = "bounce" if draw < 0.025 else "greylist" if draw < 0.05 else "accounts"  # noqa: PLR2004 - the shares above
    return f"{local}@{customer_number.lower()}.example"
