// Shows the OpenAPI document with swagger-ui.
"use strict";

const theme =
  document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
document.documentElement.classList.toggle("dark-mode", theme === "dark");

window.SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  // The default theme has red numbers that are hard to read.
  syntaxHighlight: { theme: "tomorrow-night" },
  // Its validator is on another site.
  validatorUrl: null,
});
