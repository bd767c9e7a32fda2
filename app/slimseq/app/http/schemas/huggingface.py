"""The requests and responses of Hugging Face's Inference API, as its clients send and read them.

https://huggingface.co/docs/inference-providers/tasks/translation and `…/summarization`.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model
from pydantic_core import PydanticCustomError

from slimseq.app.http.schemas.generation import OPTIONAL_OPTIONS, Texts

Truncation = Literal["do_not_truncate", "longest_first", "only_first"]
# Of an encoder-decoder model it counts the start token too, which `max_new_tokens` does not.
TotalLength = Annotated[int | None, Field(ge=2, description="One more than `…_new_tokens`, for the start token.")]


def _check_clean_up(value: bool | None) -> bool | None:
    if value:
        raise PydanticCustomError("slimseq_text", "must not be true: outputs are as the tokenizer decodes them")
    return value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    max_length: TotalLength = None
    min_length: TotalLength = None


GenerateParameters = create_model("GenerateParameters", __base__=_Strict, **OPTIONAL_OPTIONS)


class SummarizationParameters(GenerateParameters):
    """Parameters of a summary: generation options by transformers' names, here or in `generate_parameters`."""

    generate_parameters: GenerateParameters | None = None
    truncation: Truncation | None = Field(
        default=None, description="`do_not_truncate` refuses a text that exceeds the model's context window."
    )
    clean_up_tokenization_spaces: Annotated[bool | None, AfterValidator(_check_clean_up)] = None


class TranslationParameters(SummarizationParameters):
    """Parameters of a translation, with its languages."""

    src_lang: str | None = Field(default=None, description="Language of the texts.", examples=["en"])
    tgt_lang: str | None = Field(default=None, description="Language of the translations.", examples=["de"])


class SummarizationInput(BaseModel):
    """Texts to summarize, as Hugging Face's clients send them."""

    model_config = ConfigDict(extra="forbid", strict=True)

    inputs: Texts
    parameters: SummarizationParameters | None = None


class TranslationInput(SummarizationInput):
    """Texts to translate, as Hugging Face's clients send them."""

    parameters: TranslationParameters | None = None


class SummarizationOutput(BaseModel):
    """The summary of one text."""

    summary_text: str


class TranslationOutput(BaseModel):
    """The translation of one text."""

    translation_text: str
