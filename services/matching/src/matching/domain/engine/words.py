"""Words of payers, upper case and without accents, in the languages that they write."""

import unicodedata


def plain(text: str) -> str:
    """Upper case without accents: an accent parts no word."""
    if not text.isascii():
        text = "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
    return text.upper()


OTHER = frozenset(
    (
        "TEL", "TELEFON", "PHONE", "FAX", "DU", "VOM", "DATE", "DATED", "DATUM", "DEL", "KDNR", "KUNDE", "KUNDENNR", "CUST",
        "CUSTOMER", "CLIENT", "KLANT", "CLIENTE", "TOTAL", "EUR", "GBP", "USD", "CHF", "MONTANT", "BETRAG", "AMOUNT", "RUN",
        "AVIS", "AVISO", "CREDIT", "ORDER", "PO", "BC", "COMMANDE", "BESTELLUNG", "BON", "PREPAYMENT", "ACOMPTE", "SIRET", "TVA",
        "VAT", "UST", "USTID", "USTIDNR", "BTW", "PIVA", "NIP", "KVK", "SIREN", "STNR", "STEUERNR", "STEUERNUMMER",
        "KUNDENNUMMER", "KUNDNR", "KLANTNR", "KLANTNUMMER", "KLIENT", "DEBNR", "DEBITEURNR", "DEBITOR", "DEBITORNR",
        "VERTRAG", "VERTRAGSNR", "CONTRAT", "CONTRACT", "CONTRATTO", "CONTRATO", "UMOWA", "MANDAT", "AKTENZEICHEN",
        "PROJEKT", "PROJECT", "PROJET", "KOSTENSTELLE", "LIEFERSCHEIN", "BEDRAG", "KWOTA", "IMPORTE", "IMPORTO", "DNIA", "DTD",
        "UGYFEL", "UGYFELSZAM", "VEVO", "ASIAKAS", "ASIAKASNRO", "ASIAKASNUMERO", "KUNDNUMMER", "KUNDENUMMER", "ZAKAZNIK", "KLIENTA",
        "TELEF", "TELEFONO", "TELEFOON", "TLF", "PUH", "KELT", "KELTE", "DATUMA", "DATO", "FECHA", "PVM", "RENDELES", "MEGRENDELES",
        "ENCOMENDA", "PEDIDO", "ORDINE", "ZAMOWIENIE", "ZAMOWIENIA", "ZAM", "ZLECENIE", "TILAUS", "TILAUSNRO", "OBJEDNAVKA", "COMANDA",
        "NARUDZBA", "BESTALLNING", "BESTILLING", "OSSZESEN", "YHTEENSA", "RAZEM", "TOTALE", "NIF", "CIF", "ICO", "DIC", "ADOSZAM", "OIB",
    )
)  # fmt: skip
"""Words after which a number is something else: a telephone, a day, a customer, an order, a contract, a tax number, an amount."""
ADVANCE = frozenset(
    (
        "ACOMPTE", "ANZAHLUNG", "VORAUSZAHLUNG", "PREPAYMENT", "ADVANCE", "DOWNPAYMENT", "DEPOSIT", "AVANCE", "ACCONTO",
        "ANTICIPO", "ANTICIPATION", "VOORUITBETALING", "AANBETALING", "VOORSCHOT", "VORKASSE", "VORAUSKASSE", "VORSCHUSS", "ARRHES",
        "KAUTION", "CAUTION", "WAARBORG", "WAARBORGSOM", "CAUZIONE", "FIANZA", "KAUCJA", "CAPARRA", "ZALICZKA", "PRZEDPLATA", "ZALOHA",
        "FORSKUD", "FORSKUDD", "FORSKOTT", "ENNAKKOMAKSU", "ENNAKKO", "KASIRAHA", "HANDPENNING", "ELOLEG", "FOGLALO", "ADIANTAMENTO",
        "ZADATEK", "PREDDAVOK", "AVANS", "AVANSS", "AVANSAS", "ACONT", "PREDUJAM", "PREDPLACILO", "ETTEMAKS", "KAPORA",
    )
)  # fmt: skip
"""Words that say that a payment is for what is not invoiced yet, or is a security that is given back."""
JOINING = frozenset(("AND", "ET", "UND", "SOWIE", "PLUS", "EN", "E", "Y", "OCH", "OG", "ORAZ", "I", "JA", "SEKA", "ES", "VALAMINT"))
"""Words that stand between two of a list."""
_MONTHS = (
    "JANUARY JANUAR JANNER JAENNER JANVIER JANUARI GENNAIO ENERO STYCZEN JANEIRO TAMMIKUU LEDEN JAN JANV",
    "FEBRUARY FEBRUAR FEVRIER FEBRUARI FEBBRAIO FEBRERO LUTY FEVEREIRO HELMIKUU UNOR FEB FEVR",
    "MARCH MARZ MAERZ MARS MAART MARZO MARZEC MARCO MAALISKUU BREZEN MARTS MAR MRZ MRT",
    "APRIL AVRIL APRILE ABRIL KWIECIEN HUHTIKUU DUBEN APR AVR",
    "MAY MAI MEI MAGGIO MAYO MAJ MAIO TOUKOKUU KVETEN",
    "JUNE JUNI JUIN GIUGNO JUNIO CZERWIEC JUNHO KESAKUU CERVEN JUN",
    "JULY JULI JUILLET LUGLIO JULIO LIPIEC JULHO HEINAKUU CERVENEC JUL JUIL",
    "AUGUST AOUT AUGUSTUS AGOSTO SIERPIEN AUGUSTI ELOKUU SRPEN AUG",
    "SEPTEMBER SEPTEMBRE SETTEMBRE SEPTIEMBRE WRZESIEN SETEMBRO SYYSKUU ZARI SEP SEPT",
    "OCTOBER OKTOBER OCTOBRE OTTOBRE OCTUBRE PAZDZIERNIK OUTUBRO LOKAKUU RIJEN OCT OKT",
    "NOVEMBER NOVEMBRE NOVIEMBRE LISTOPAD NOVEMBRO MARRASKUU NOV",
    "DECEMBER DEZEMBER DESEMBER DECEMBRE DICEMBRE DICIEMBRE GRUDZIEN DEZEMBRO JOULUKUU PROSINEC DEC DEZ",
)
MONTHS = {name: number for number, names in enumerate(_MONTHS, 1) for name in names.split()}
"""Names of months, as in the Unicode CLDR's Gregorian calendar (da, de, en, es, fi, fr, it, cs, nb, nl, pl, pt, sv), and what is usual for
short.
"""
