"""Customers, invoices and credit notes: what a company has billed, and to whom."""
