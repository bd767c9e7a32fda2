"""One file a runtime, all behind `protocol.Runtime`."""
