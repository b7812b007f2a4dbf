// An EHR's own page, on another origin, that shows an app in a frame.
import { createServer } from 'node:http';
import { freePort } from './lib.mjs';

/** A page of `of` that shows `url` in a frame; gives the frame. */
export async function framed(page, of, url) {
  await page.goto(`${of.origin}/chart?app=${encodeURIComponent(url)}`);
  return page.frame({ name: 'app' });
}

/** A site whose one page shows another in a frame. */
export async function pages() {
  const port = await freePort();
  const server = createServer((request, response) => {
    if (request.url === '/cookie') {
      response.writeHead(200, { 'content-type': 'text/html', 'set-cookie': 'kept=1; SameSite=None; Secure; Path=/' });
      return response.end(`<!doctype html><title>cookie</title><output>${request.headers.cookie ? 'kept' : 'none'}</output>`);
    }
    const app = new URL(request.url, 'http://ehr').searchParams.get('app') ?? 'about:blank';
    const source = app.replaceAll('&', '&amp;').replaceAll('"', '&quot;');
    return response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(`<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>EHR</title>
<style>body{margin:0;font:1rem system-ui;background:#dfe3ea}h1{font-size:1rem;margin:.75rem}iframe{display:block;width:100%;height:700px;border:0}</style>
</head><body><h1>Chart of Ada Lovelace</h1><iframe name="app" title="App" src="${source}"></iframe></body></html>`);
  });
  await new Promise((done) => server.listen(port, '127.0.0.1', done));
  const stop = () => new Promise((done) => {
    server.close(done);
    server.closeAllConnections();
  });
  return { origin: `http://127.0.0.1:${port}`, stop };
}
