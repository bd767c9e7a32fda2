"""What is measured: servers, peers in process, the service's runtime alone."""
