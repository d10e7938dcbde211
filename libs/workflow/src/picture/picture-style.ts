/** Colours of the links, for either theme. */
const LINKS = {
  model: '#8b7fd6',
  clip: '#c9a227',
  vae: '#e0635c',
  cond: '#d9862f',
  latent: '#d061b8',
  image: '#4c8fd9',
  mask: '#3f9e5f',
  video: '#2fa39a',
  audio: '#7a9a3a',
  value: '#7d8794',
  any: '#9098a3',
} as const;

const links = Object.entries(LINKS)
  .map(([name, colour]) => `path.${name}{stroke:${colour}}circle.${name}{fill:${colour}}`)
  .join('');

/** The style of every picture: light, and dark where the reader's system is. */
export const STYLE = [
  'text{font:11px ui-sans-serif,system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;fill:#24292f}',
  '.page{fill:#ffffff}.box{fill:#f3f5f8;stroke:#c4cbd4}.title{font-weight:600;font-size:12px}.class{fill:#6b7480;font-size:10px}',
  '.slot{fill:#4b5563}.out{text-anchor:end}.value{fill:#57606a}',
  '.links path{fill:none;stroke-width:2;opacity:.75}',
  '.group rect{fill:#8096b0;fill-opacity:.1;stroke:#8096b0;stroke-opacity:.5}.group text{font-size:16px;font-weight:600;fill:#6b7a8c}',
  '.note .box{fill:#fdf6dc;stroke:#e3d48f}.marked .box{stroke:#0b7285;stroke-width:2}',
  'rect.input{fill:#c5eef3}.value.input{fill:#0b4f5c;font-weight:600}',
  '.muted,.bypassed{opacity:.45}.bypassed .box{stroke-dasharray:5 4}',
  links,
  '@media (prefers-color-scheme:dark){text{fill:#e6e8eb}.page{fill:#15181c}.box{fill:#23282f;stroke:#3d4550}.class{fill:#8f99a6}',
  '.slot{fill:#b6bec8}.value{fill:#a3acb7}.group text{fill:#93a3b8}.note .box{fill:#3a3521;stroke:#6b6033}',
  '.marked .box{stroke:#3bc9db}rect.input{fill:#12525d}.value.input{fill:#c5f6fa}}',
].join('');
