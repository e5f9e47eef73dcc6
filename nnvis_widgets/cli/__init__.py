"""The commands behind ``python -m nnvis_widgets``. May import: anything of ours; nothing imports it but ``__main__``."""
