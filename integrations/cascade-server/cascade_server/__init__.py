"""A cascade as a server. `cascade_server.mcp` offers it to agents of any framework, over the Model Context Protocol."""
