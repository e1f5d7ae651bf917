// What these tests need of a browser: cookies, redirects and forms.
export class Browser {
  #cookies = new Map();

  async fetch(url, init = {}) {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(url, { ...init, redirect: 'manual', headers: { ...init.headers, cookie } });
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      if (value) this.#cookies.set(name, value);
      else this.#cookies.delete(name);
    }
    return response;
  }

  // Follows redirects until a page, or until a URL that begins with `until`, which is not requested.
  async open(url, init, until) {
    let response = await this.fetch(url, init);
    while (response.headers.has('location')) {
      url = new URL(response.headers.get('location'), url).href;
      if (until && url.startsWith(until)) return { url };
      response = await this.fetch(url);
    }
    return { url, html: await response.text() };
  }

  // Sends the form of a page with its hidden fields and these.
  submit({ url, html }, fields, until) {
    const action = /<form[^>]* action="([^"]+)"/.exec(html)[1];
    const hidden = [...html.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]+)"/g)].map(([, ...pair]) => pair);
    return this.open(new URL(action, url).href, form({ ...Object.fromEntries(hidden), ...fields }), until);
  }
}

export const form = (fields, headers) => ({ method: 'POST', headers, body: new URLSearchParams(fields) });

export const basic = (id, secret) => ({ authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}` });
