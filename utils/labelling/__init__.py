"""Annotating one's own videos with little work: drafts by a detector, and corrections carried through the frames."""
