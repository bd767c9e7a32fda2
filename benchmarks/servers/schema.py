"""What the servers compared with are asked and answer: the part of Slimseq's contract that a measurement needs."""

from pydantic import BaseModel


class GenerateRequest(BaseModel):
    """One text and all settings of its generation, by transformers' names."""

    text: str
    num_beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool = False
    no_repeat_ngram_size: int = 0
    min_new_tokens: int = 0
    max_new_tokens: int = 128


class Output(BaseModel):
    """One generated text."""

    text: str
    output_tokens: int


class GenerateResponse(BaseModel):
    """The text's output, in a list of its own as Slimseq has it."""

    outputs: list[Output]
