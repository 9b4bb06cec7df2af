"""From labelled data to weights and a model card."""
