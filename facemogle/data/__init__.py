"""Folders of faces, label maps and captions as people have them: what they hold, what fits what, and reading it."""
