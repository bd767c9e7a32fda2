"""What a translation must not change: spans of a sentence, found, masked, checked in the output, and put back.

Pure text work. `passes` has the flow, which yields the texts to translate and receives their outputs; the service and
others drive it with any model.
"""
