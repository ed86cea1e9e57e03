"""The steps of a preparation, a file each: unpack, index, verify, encode, lists, stats.

Each reads what those before it left in the folder and leaves its own, so that it can be cut off, run again
and run alone. :mod:`data_prep.common.preparing` calls them in their order.
"""
