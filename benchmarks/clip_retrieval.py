"""Measure clip-retrieval's inference; ``benchmarks.indexing --clip-retrieval PYTHON`` runs this file with that Python.

    python benchmarks/clip_retrieval.py FOLDER MODEL WEIGHTS

PYTHON is the interpreter of a separate environment with clip-retrieval (``pip install clip-retrieval``; because it
requires older versions of nearly everything, use ``--no-deps`` and then install what it imports, with
``setuptools<66``). FOLDER holds the pictures, MODEL is open_clip's name, WEIGHTS a file of weights. Prints the seconds
from the first picture to the written embeddings, without loading the model.
"""

import sys
import tempfile
import time
from pathlib import Path


def main(folder: str, model: str, weights: str) -> None:
    from imagesim.embedders.process import import_torchvision

    import_torchvision()  # otherwise it fails to import with a CPU-only torch
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
    # This file has the same name as the package.
    sys.path = [str(Path(__file__).parent.parent), *(path for path in sys.path if not path.endswith("benchmarks"))]
    main(*sys.argv[1:])
