"""Readers of annotations: each module offers ``read_listing`` and ``match``, in terms of
``data_prep.common.listing``."""
