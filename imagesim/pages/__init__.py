"""The parts of pages: similar products and regions for the template tags, the refinement of results, thumbnails."""
