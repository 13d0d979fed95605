"""What is learned, from what data, and how it is judged.

The network itself comes from `blocks` through YAML.
"""
