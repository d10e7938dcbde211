/** Words that cannot name a constant of a module (ECMAScript's reserved words, and what strict mode adds). */
const RESERVED_WORDS = new Set(
  (
    'arguments await break case catch class const continue debugger default delete do else enum eval export extends ' +
    'false finally for function if implements import in instanceof interface let new null package private protected ' +
    'public return static super switch this throw true try typeof undefined var void while with yield'
  ).split(' '),
);

/** Names that the generated module has already. */
const TAKEN = new Set(['z', 'file', 'loadEndpoint']);

/** Names in an endpoint's client, by the name of the endpoint: `fluxSchnell`, `FluxSchnell`. */
export function clientNames(endpoint: string): { readonly constant: string; readonly type: string } {
  const [first = '', ...others] = endpoint.split('-');
  const camel = [first, ...others.map(capitalized)].join('');
  const constant = RESERVED_WORDS.has(camel) || TAKEN.has(camel) ? `${camel}Endpoint` : camel;
  return { constant, type: capitalized(camel) };
}

/** `flux-schnell` as a title: `Flux schnell`. */
export function titleOf(endpoint: string): string {
  return capitalized(endpoint.replaceAll('-', ' '));
}

/** The text with its first letter as a capital. */
export function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
