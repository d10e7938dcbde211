/** A stand-in for the two services that know of vulnerable packages: npm's bulk advisories and OSV, on a loopback port. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';

/** What an audit finds is up to the test. */
export class LocalAdvisories implements AsyncDisposable {
  /** A Python package that has a vulnerability. */
  vulnerable: string | undefined;
  /** Packages that were asked for, by service. */
  readonly asked = { npm: new Set<string>(), python: new Set<string>() };
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      void buffer(request).then((sent) => {
        const text = (request.headers['content-encoding'] === 'gzip' ? gunzipSync(sent) : sent).toString();
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(JSON.stringify(this.#answer(request.url ?? '', text)));
      });
    });
  }

  static async start(): Promise<LocalAdvisories> {
    const service = new LocalAdvisories();
    await new Promise<void>((resolve) => service.#server.listen(0, '127.0.0.1', resolve));
    return service;
  }

  /** What leads `npm audit` and pip-audit here. */
  get env(): Readonly<Record<string, string>> {
    const url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return {
      STANDIN_ADVISORIES: url,
      PIP_AUDIT_VULNERABILITY_SERVICE: 'osv',
      PIP_AUDIT_OSV_URL: `${url}/v1/query`,
    };
  }

  #answer(url: string, text: string): unknown {
    const body: unknown = text === '' ? {} : JSON.parse(text);
    if (typeof body !== 'object' || body === null) return {};
    if (url !== '/v1/query') {
      for (const name of Object.keys(body)) this.asked.npm.add(name);
      return {};
    }
    const name = packageOf(body);
    this.asked.python.add(name);
    return name === this.vulnerable ? { vulns: [advisoryOf(name)] } : {};
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

function packageOf(query: object): string {
  const { package: asked } = query as { readonly package?: { readonly name?: string } };
  return asked?.name ?? '';
}

/** As OSV describes a vulnerability of every version. */
function advisoryOf(name: string): unknown {
  const affected = {
    package: { name, ecosystem: 'PyPI' },
    ranges: [{ type: 'ECOSYSTEM', events: [{ introduced: '0' }] }],
  };
  return { id: 'PYSEC-2026-1', summary: 'Made up for this test.', details: 'Made up.', affected: [affected] };
}
