// Applies the chosen theme before the first paint. Without a choice, the style sheet follows the system.
"use strict";

try {
  const theme = localStorage.getItem("slimseq-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is blocked: the system's theme applies.
}
