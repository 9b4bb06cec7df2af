"""Instances on disk become a :class:`~dicomnode.assemble.volume.Volume`, or a refusal that says why."""
