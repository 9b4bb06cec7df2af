"""What can be asked over HTTP: metrics, and whether the node is alive and ready."""
