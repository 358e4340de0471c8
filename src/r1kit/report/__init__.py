"""The report of a run: reads its plain files, writes one HTML page. No stage knows that it exists."""
