"""From bytes to batches: Lightning data modules that yield dictionaries such as {"image": ...,
"label": ...}.
"""
