"""How fast clip-retrieval's inference is: run by ``benchmarks.indexing --clip-retrieval PYTHON``, with that Python.

    python benchmarks/clip_retrieval.py FOLDER MODEL WEIGHTS

PYTHON is the interpreter of an environment of its own that has clip-retrieval (``pip install clip-retrieval``; as it
asks for older versions of nearly everything, ``--no-deps`` and then what it imports, with ``setuptools<66``). FOLDER
holds the pictures, MODEL is open_clip's name, WEIGHTS a file of them. Prints the seconds that it took from the first
picture to the written embeddings; loading the model is not counted.
"""

import sys
import tempfile
import time
from pathlib import Path


def main(folder: str, model: str, weights: str) -> None:
    from imagesim.embedders.process import import_torchvision

    import_torchvision()  # else it may not be imported beside a CPU-only torch
    from clip_retrieval.clip_inference.mapper import ClipMapper
    from clip_retrieval.clip_inference.reader import FilesReader
    from clip_retrieval.clip_inference.writer import NumpyWriter

    name = f"open_clip:{model}/{weights}"
    mapper = ClipMapper(True, False, False, False, name, False, "")
    from all_clip import load_clip

    _, preprocess, tokenizer = load_clip(clip_model=name, use_jit=False)
    with tempfile.TemporaryDirectory() as output:
        start = time.perf_counter()
        reader = FilesReader(lambda keys: keys, preprocess, tokenizer, folder, 256, 2, enable_text=False)
        writer = NumpyWriter(0, output, False, True, False, 1)
        for batch in reader:
            writer(mapper(batch))
        writer.flush()
        print(time.perf_counter() - start)


if __name__ == "__main__":
    # This file has the package's name.
    sys.path = [str(Path(__file__).parent.parent), *(path for path in sys.path if not path.endswith("benchmarks"))]
    main(*sys.argv[1:])
