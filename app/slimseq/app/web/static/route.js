// Addresses of the page: `#/variants/translation/compact?x=size`. What is behind `#` is not sent to the service.

/** Splits the address into its parts and its query. */
export function currentRoute() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { parts: path.split("/").filter(Boolean).map(decodeURIComponent), query: new URLSearchParams(query) };
}

/** Makes the address of a view. Lists become repeated parameters; empty values are left out. */
export function link(parts, query = {}) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== undefined && each !== null && each !== "") search.append(name, each);
    }
  }
  const path = `#/${parts.map(encodeURIComponent).join("/")}`;
  return search.size ? `${path}?${search}` : path;
}

/** Replaces the address without a new entry in the history and without drawing the view again. */
export function replaceAddress(hash) {
  history.replaceState(null, "", hash);
}
