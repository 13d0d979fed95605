"""Models that somebody shares: a folder of YAML and safetensors, here or on the Hugging Face
Hub.
"""
