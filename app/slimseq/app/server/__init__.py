"""The HTTP server around the application: uvicorn's, with limits on connections and an end that always comes."""
