"""How results become something to read: sentences, tables, figures, and the page of them."""
