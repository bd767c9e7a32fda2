// The visitor's key, where the service wants one: asked for once, and kept until the tab is closed.

import { html, render } from "./vendor/lit-html/lit-html.js";

const ITEM = "slimseq-key";
let key = null;
let asking = null;
let isDeclined = false;

try {
  key = sessionStorage.getItem(ITEM);
} catch {
  // Storage is blocked: the key lasts until the page is left.
}

/** The key to send, or null. */
export function storedKey() {
  return key;
}

function keep(value) {
  key = value;
  isDeclined = false;
  showButton();
  try {
    sessionStorage.setItem(ITEM, value);
  } catch {
    // As above.
  }
}

/** Shows the button that asks for another key. */
function showButton() {
  const button = document.getElementById("key");
  button.hidden = false;
  button.onclick = async () => {
    if (await open("Use another key")) window.dispatchEvent(new Event("hashchange"));
  };
}

if (key !== null) showButton();

/**
 * Asks for a key after a request was refused. All requests that are refused meanwhile wait for the same answer. A
 * visitor who has declined is asked again for an action of theirs alone.
 * Returns whether there is another key to try than `refused`.
 */
export async function askForKey(refused, isAction) {
  if (key !== refused) return true;
  if (isDeclined && !isAction) return false;
  asking ??= open(refused === null ? "This needs a key" : "This key is not valid").finally(() => {
    asking = null;
  });
  return asking;
}

/** Shows the dialog. Resolves to whether a key was given. */
function open(title) {
  const dialog = document.createElement("dialog");
  dialog.className = "key-dialog";
  dialog.setAttribute("aria-labelledby", "key-title");
  const given = new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const value = dialog.returnValue === "use" ? dialog.querySelector("input").value.trim() : "";
      dialog.remove();
      if (value) keep(value);
      else {
        // Requests go on without a key until the visitor asks for the dialog.
        isDeclined = true;
        showButton();
      }
      resolve(Boolean(value));
    });
  });
  render(
    html`<form method="dialog">
      <h2 id="key-title">${title}</h2>
      <p>The operator of the service gives you one. It is kept until you close this tab.</p>
      <label class="field">
        <span>Key</span>
        <input name="key" type="password" autocomplete="off" spellcheck="false" required autofocus />
      </label>
      <div class="key-buttons">
        <button class="secondary" type="button" @click=${() => dialog.close("")}>Cancel</button>
        <button class="primary" value="use">Use key</button>
      </div>
    </form>`,
    dialog,
  );
  document.body.append(dialog);
  dialog.showModal();
  return given;
}
