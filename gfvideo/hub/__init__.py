"""The form in which model hubs hold a recognizer: a folder with its config, its weights, its exits, and a
card of what was measured.

    model.save_pretrained('my-model', exits='exits.json', results=['test_results.json'])
    model = gfvideo.from_pretrained('my-model')        # or 'owner/name', from the hub
    model.push_to_hub('owner/name')
"""

from .card import CardError, read_results, write_card
from .folder import fetch_pretrained, from_pretrained, push_to_hub, save_pretrained

__all__ = [
    'CardError',
    'fetch_pretrained',
    'from_pretrained',
    'push_to_hub',
    'read_results',
    'save_pretrained',
    'write_card',
]
