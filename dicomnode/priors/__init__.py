"""Looking for earlier results of the same patient: in the ledger, at the PACS, in a folder."""
