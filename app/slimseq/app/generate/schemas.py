"""Bodies of generation requests and of their responses. `docs.openapi` publishes their descriptions.

A request makes its `Prompt`, which the generator takes; `make_output` makes an output of the response. Types are
strict: numbers and strings are not converted into each other. Generation options, with their bounds and descriptions,
come from `slimseq.models_store.generation.GenerationOptions`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, create_model
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from slimseq.answers import Generation, Output, OutputWarning, ScoredText
from slimseq.app.errors import InvalidRequest
from slimseq.inference.generator import OnOverflow, TextOutput
from slimseq.inference.text.glossary import MAX_TERMS
from slimseq.inference.text.rows import Format, LongInput, Prompt
from slimseq.inference.text.warnings import TextWarning
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import Manifest, Task

# How error messages name the types of JSON values.
JSON_KINDS = {
    dict: "an object",
    list: "a list",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}

SENTENCE = "The children are playing in the garden."
ARTICLE = (
    "A fire broke out in a warehouse in the city of Leeds on Monday. Firefighters from three stations fought the "
    "flames for six hours. Nobody was hurt, police said, and the cause is being investigated."
)


def examples(*bodies: dict[str, Any]) -> ConfigDict:
    """Returns the configuration of a model with examples in the OpenAPI document. Tests post them to the service."""
    extra: Any = {"examples": list(bodies)}
    return ConfigDict(json_schema_extra=extra)


def check_unicode(text: str, place: str) -> None:
    """Rejects a lone surrogate, which JSON can express and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PydanticCustomError(
            "slimseq_text",
            "{place}holds half a surrogate pair at character {position}",
            {"place": place, "position": error.start},
        ) from error


def check_texts(value: Any) -> Any:
    """Checks that a value is a string or a list of strings, none of them blank. Error messages name the entry."""
    is_list = isinstance(value, list)
    texts = value if is_list else [value]
    if not texts:
        raise PydanticCustomError("slimseq_text", "must not be an empty list")
    for index, text in enumerate(texts):
        place = f"entry {index} " if is_list else ""
        if not isinstance(text, str):
            wanted = "must be a string" if is_list else "must be a string or a list of strings"
            raise PydanticCustomError(
                "slimseq_text",
                "{place}{wanted}, not {kind}",
                {"place": place, "wanted": wanted, "kind": JSON_KINDS.get(type(text), "something else")},
            )
        if not text.strip():
            raise PydanticCustomError("slimseq_text", "{place}must not be empty", {"place": place})
        if not text.isascii():
            check_unicode(text, place)
    return value


def check_languages(task: Task, languages: Sequence[str] | None) -> None:
    """Checks the number of languages of a pair: source and target of a translation, one of summaries."""
    if languages is None:
        return
    count, wanted = 1, "one code"
    if task is Task.TRANSLATION:
        count, wanted = 2, "two codes, source and target"
    if len(languages) != count:
        raise ValueError(f"languages must have {wanted} for {task.value}")


NOT_BLANK = {"type": "string", "pattern": r"\S"}
Texts = Annotated[
    str | list[str],
    BeforeValidator(check_texts),
    # The OpenAPI document says what `check_texts` accepts.
    WithJsonSchema({"anyOf": [NOT_BLANK, {"type": "array", "items": NOT_BLANK, "minItems": 1}]}),
    Field(description="A text or a list of texts.", examples=[SENTENCE]),
]


def check_string(text: str) -> str:
    check_unicode(text, "")
    return text


Prefix = Annotated[str, Field(max_length=1000), AfterValidator(check_string)]
Stop = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(check_string)]
Language = Annotated[str, Field(min_length=2, max_length=35)]

PrefixField = Annotated[
    Prefix | None, Field(description="Text before each input, in place of the model's own prefix. Summarization only.")
]
LongInputField = Annotated[
    LongInput,
    Field(
        description="What to do with a document that exceeds the model's context window. `truncate`: see "
        "`on_overflow`. `map_reduce`: divide it at blank lines, and where a paragraph exceeds the window between "
        "sentences or words, and summarize each part. The output has the summaries in reading order. Generation "
        "options and `stop` hold for each of them."
    ),
]
FormatField = Annotated[
    Format,
    Field(
        description="Format of the texts. Translations of `html` and `markdown` keep the structure: markup stays "
        "around the words that it belonged to; code, links and attributes stay as they are. Summaries have no markup: "
        "it is removed first."
    ),
]
SourceField = Annotated[
    Language | None,
    Field(
        description="Language of the texts. `source` and `target` select a variant of that pair, or two by way of "
        "English (see `through` in the answer); one of them is enough. A variant that the query selects must translate "
        "from it.",
        examples=["en"],
    ),
]
TargetField = Annotated[
    Language | None,
    Field(description="Language of the outputs, likewise.", examples=["de"]),
]
PROTECT = (
    "Whether numbers, amounts, dates, times, URLs, e-mail addresses, phone numbers, code between backticks, tags, "
    "symbols and emoji come out as they went in, or as the target language writes them (`1,299.99` as `1.299,99` in "
    "German), and words with letters that the model cannot write, such as names, as they went in."
)
GlossaryField = Annotated[
    dict[str, str] | str | None,
    Field(
        description="Terms, and what stands for them in translations, or the name of a glossary (`GET /glossaries`). "
        f"A term is found in any case and in the plural, an acronym as it is written. At most {MAX_TERMS} terms."
    ),
]
# The default is an empty tuple, which becomes an empty list in the OpenAPI document. The document would lack a default
# that a factory makes.
KeepField = Annotated[list[str], Field(default=(), description="Names that come out as they went in.")]


class TextField(BaseModel):
    """The texts of a request."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: Texts


def _optional(option: FieldInfo) -> tuple[Any, None]:
    """Returns the type and the default of a generation option that may be left out, with its bounds and description."""
    type_or_none = option.annotation | None  # type: ignore[operator]
    return Annotated[type_or_none, *option.metadata, Field(description=option.description)], None


OPTIONAL_OPTIONS: dict[str, Any] = {name: _optional(each) for name, each in GenerationOptions.model_fields.items()}
# Fields of a request that are fields of its prompt under the same name. `stop` is not: a request has a list of strings,
# the prompt a tuple.
PROMPT_FIELDS = {each.name for each in fields(Prompt)} - {"stop"}
OptionFields = create_model("OptionFields", __base__=TextField, **OPTIONAL_OPTIONS)


class TextRequest(OptionFields):
    """Texts and generation options. An option that is left out has the default of the variant."""

    format: FormatField = "text"
    stop: Annotated[
        list[Stop],
        Field(default=(), max_length=8, description="Strings that end an output (for translation, of each sentence)."),
    ]
    on_overflow: OnOverflow = Field(
        default="truncate",
        description="What to do with a text that exceeds the model's context window: `truncate` it, or answer with an "
        "`error`.",
    )
    repair: bool = Field(
        default=True,
        description="Whether an output that repeats itself, is far too short or long, or has lost something is "
        "generated once more (see `repaired`). A stream has the new one in its `done` event, in place of the pieces.",
    )

    def prompt(self) -> Prompt:
        """Returns what to generate from.

        A field that is left out or None has the prompt's default. Such an option has the default of the variant.
        """
        texts = [self.text] if isinstance(self.text, str) else self.text
        options = self._given(OPTIONAL_OPTIONS)
        return Prompt(texts, options, stop=tuple(self.stop), **self._given(PROMPT_FIELDS))

    def _given(self, names: Iterable[str]) -> dict[str, Any]:
        """Returns the fields among `names` that the request has, without None."""
        values = vars(self)
        given_names = [name for name in names if name in self.model_fields_set]
        return {name: values[name] for name in given_names if values[name] is not None}


class GenerationRequest(TextRequest):
    """A request whose answer can be streamed."""

    stream: bool = Field(default=False, description="Whether to answer with Server-Sent Events.")


class SummarizeRequest(GenerationRequest):
    """Texts to summarize."""

    model_config = examples(
        {"text": ARTICLE}, {"text": [ARTICLE], "num_beams": 1, "max_new_tokens": 32, "long_input": "map_reduce"}
    )

    prefix: PrefixField = None
    long_input: LongInputField = "truncate"


class TranslateRequest(GenerationRequest):
    """Texts to translate, sentence by sentence."""

    model_config = examples(
        {"text": SENTENCE, "target": "de"},
        {"text": [SENTENCE, "It is raining."], "source": "en", "target": "de", "num_beams": 1},
        {"text": SENTENCE, "num_beams": 1, "do_sample": True, "temperature": 0.8, "seed": 7, "stream": True},
        {"text": "<p>The <b>new phone</b> costs $1,299.99.</p>", "format": "html"},
        {"text": "Slimseq must pay the invoice.", "glossary": {"invoice": "Faktur"}, "keep": ["Slimseq"]},
    )

    source: SourceField = None
    target: TargetField = None
    protect: bool = Field(default=True, description=PROTECT)
    glossary: GlossaryField = None
    keep: KeepField


class CompareRequest(TextRequest):
    """Texts for several variants: the fields of `/summarize` or of `/translate`, without `stream`."""

    model_config = examples({"text": SENTENCE})

    prefix: PrefixField = None
    long_input: LongInputField | None = None
    source: SourceField = None
    target: TargetField = None
    protect: bool | None = Field(default=None, description=PROTECT)
    glossary: GlossaryField = None
    keep: KeepField

    def check_fields(self, task: Task) -> None:
        """Checks that a request has no field of the other task."""
        if task is Task.SUMMARIZATION:
            forbidden = ["source", "target", "protect", "glossary", "keep"]
        else:
            forbidden = ["prefix", "long_input"]
        for name in forbidden:
            is_given = getattr(self, name) not in (None, (), [])
            if is_given:
                raise InvalidRequest(f"{name}: is not a field of {task.value}")


def make_output(output: TextOutput, warnings: Sequence[TextWarning], manifest: Manifest) -> Output:
    """Returns an output with the warnings about it, and its confidence if it is a calibrated translation."""
    response_output = Output(
        text=output.text,
        finish_reason=output.finish_reason,
        input_tokens=output.input_tokens,
        output_tokens=output.output_tokens,
        truncated=output.truncated,
        warnings=[OutputWarning(kind=each.kind, detail=each.detail) for each in warnings] or None,
        repaired=list(output.repaired) or None,
    )
    response_output.confidence = output.confidence(manifest)
    if output.alternatives:
        response_output.score = output.score
        response_output.alternatives = [ScoredText(text=each.text, score=each.score) for each in output.alternatives]
    return response_output


class GenerationResponse(Generation):
    """The outputs of one variant, in the order of the request's texts."""

    model_config = examples(
        {
            "id": "0c9b5a0c4f0e4d0c8a7d6f5e4d3c2b1a",
            "task": "translation",
            "variant": "quantized",
            "digest": "sha256:7427bd427d2ec34bec71e0fe505b9ec65aa9f0e1a10828c9a457da1c98156e86",
            "runtime": "onnxruntime",
            "outputs": [
                {
                    "text": "Die Kinder spielen im Garten.",
                    "finish_reason": "eos",
                    "input_tokens": 10,
                    "output_tokens": 8,
                    "truncated": False,
                }
            ],
            "timings": {"queue_ms": 0.098, "inference_ms": 11.176, "total_ms": 11.767},
        }
    )
