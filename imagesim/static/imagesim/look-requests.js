// The requests of {% shop_the_look %} to the REST API. Each cancels the one before it.

import { csrfHeaderOf, fieldsOf, post, withLimit } from "./requests.js";

export class LookRequests {
  // ``data``: the data attributes of the widget; ``onBusy`` is called with true and false as requests begin and end.
  constructor(data, form, onBusy) {
    this.data = data;
    this.form = form;
    this.onBusy = onBusy;
    this.running = null; // the AbortController of the running request
  }

  // Search a photo for regions and hits.
  findRegions(photo) {
    return this.post(this.data.api, { image: photo, facets: this.data.facets });
  }

  // Search the photo that the server holds as ``token``.
  findHeldRegions(token) {
    return this.post(`${this.data.api}${encodeURIComponent(token)}/`, { facets: this.data.facets });
  }

  searchRegion(token, { box: { x, y, width, height }, label }) {
    const region = JSON.stringify([x, y, width, height]);
    const url = this.data.regionApi.replace("TOKEN", encodeURIComponent(token));
    return this.post(url, { region, label, facets: this.data.facets });
  }

  // Without facets: those of this call count what passes the filters, not what is like the picture.
  searchPicture(picture) {
    return this.post(this.data.searchApi, { image: picture });
  }

  fetchHeld(token) {
    return fetch(`${this.data.api}${encodeURIComponent(token)}/photo/`, { signal: withLimit() });
  }

  // Cancel the running request and drop its answer.
  cancel() {
    this.running?.abort();
    this.onBusy(false);
  }

  // Return the answer, or null if a newer request replaced this one.
  async post(url, { image, ...values } = {}) {
    const body = new FormData();
    for (const [name, value] of fieldsOf(this.form)) body.append(name, value);
    body.append("limit", this.data.limit);
    for (const [name, value] of Object.entries(values)) if (value) body.append(name, value);
    if (image) body.append("image", image, "photo");
    this.running?.abort();
    const request = new AbortController();
    this.running = request;
    this.onBusy(true);
    const answer = await post(url, body, csrfHeaderOf(this.form), request);
    if (!answer || this.running !== request) return null;
    this.onBusy(false);
    return answer;
  }
}
