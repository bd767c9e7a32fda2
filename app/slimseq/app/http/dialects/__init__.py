"""Requests of other APIs on our paths: LibreTranslate's and Hugging Face's. Each dialect has a file.

`slimseq.app.http.dialects.route` recognises them. A dialect turns a request into a prompt, and the answer or the error
into what its clients read.
"""
