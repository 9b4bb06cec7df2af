"""The durable part: instance files and the ledger of every series; the only code that knows states."""
