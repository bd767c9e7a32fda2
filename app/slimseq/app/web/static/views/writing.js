// The left side of the playground's form: task, text, what the text is, and samples.

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import { live } from "../vendor/lit-html/directives/live.js";
import { languageName } from "../languages.js";
import { segments, shareButton } from "../parts.js";
import { SAMPLES } from "../text/samples.js";
import { FORMATS } from "../text/structure.js";

const KEPT = "keep their place; links, attributes and code stay as they are.";
const FORMAT_HELP = {
  translation: {
    text: "Each sentence is translated. Line breaks and bullets stay.",
    html: `Only words are translated. Tags ${KEPT}`,
    markdown: `Only words are translated. Headings, lists, tables and emphasis ${KEPT}`,
  },
  summarization: {
    text: "The words are summarized as they are.",
    html: "The words without tags and scripts are summarized. The summary is plain text.",
    markdown: "The words without markup and code blocks are summarized. The summary is plain text.",
  },
};
const PROTECT_HELP = "Numbers, dates, addresses, links and code come out as they went in, or as the language writes them.";

/** Draws the side. `page` is the playground. */
export function writing(page) {
  const submitByKey = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      page.run();
    }
  };
  return html`<div class="writing">
    <div class="writing-top">
      ${segments("task", "Task", page.tasks, page.task, (task) => page.setTask(task))}
      ${page.languages.template(() => page.changeLanguages())}
      ${shareButton(page.isTextShared ? "Copied" : "Copied without the text, which is too long")}
    </div>
    <label class="visually-hidden" for="text"
      >${page.task === "translation" ? `${languageName(page.pair[0])} text` : "Text to summarize"}</label
    >
    <textarea
      id="text"
      class=${page.format === "text" ? "" : "source"}
      rows="5"
      spellcheck="false"
      placeholder="Write or paste a text"
      .value=${live(page.text)}
      @input=${(event) => page.set({ text: event.target.value })}
      @keydown=${submitByKey}></textarea>
    ${page.isEnglish ? samples(page) : nothing} ${settings(page)}
  </div>`;
}

function samples(page) {
  return html`<div class="samples" role="group" aria-label="Samples">
    ${SAMPLES[page.task].map(
      ({ label, text, format = "text" }) =>
        html`<button
          type="button"
          class="chip"
          aria-pressed=${text === page.text && format === page.format}
          @click=${() => page.set({ text, format })}>
          ${label}
        </button>`,
    )}
  </div>`;
}

function settings(page) {
  return html`<div class="settings">
    <div class="setting setting-format">
      <span class="setting-name" aria-hidden="true">Format</span>
      ${segments("format", "Format of the text", FORMATS, page.format, (format) => page.set({ format }))}
      <p class="setting-help">${FORMAT_HELP[page.task][page.format]}</p>
    </div>
    ${
      page.task === "translation"
        ? html`<div class="setting">
            <label class="switch"
              ><input
                type="checkbox"
                role="switch"
                aria-describedby="protect-help"
                .checked=${live(page.protect)}
                @change=${(event) => page.set({ protect: event.target.checked })} />
              <span>Protect facts</span></label
            >
            <p class="setting-help" id="protect-help">${PROTECT_HELP}</p>
          </div>`
        : nothing
    }
  </div>`;
}
