"""The node and a PACS on this machine: a CT goes in, the answer is read back, printed and drawn."""
