// Shows the OpenAPI document with swagger-ui.
"use strict";

window.SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger",
  deepLinking: true,
  displayRequestDuration: true,
  // Its validator is on another site.
  validatorUrl: null,
});
