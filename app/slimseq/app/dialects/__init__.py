"""Other APIs, each a mounted application with its own errors: LibreTranslate's and Hugging Face's, a file each."""
