"""From records to a report: tables, figures, sentences, pages. Nothing here trains."""
