"""The mechanics that every Encours service stands on: no business word in here."""
