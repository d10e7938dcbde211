import path from 'node:path/posix';

import type { EnvironmentKind, UnpinnedPart } from './environment.ts';
import {
  COMMIT,
  type Findings,
  isComfyui,
  lastPart,
  type ModelFinding,
  type NodeFinding,
  publicRepository,
  releaseVersion,
  withoutSecrets,
} from './findings.ts';
import { commandLine, type ShellCommand, shellCommands } from './shell-commands.ts';

type Problem = Omit<UnpinnedPart, 'part' | 'name' | 'known'>;
type Draft = { -readonly [Key in keyof NodeFinding]: NodeFinding[Key] } & { folder?: string };

/** Follows the commands that install ComfyUI, custom nodes and models in an image, without running anything. */
export class InstallSteps {
  readonly #nodes: Draft[] = [];
  readonly #models: ModelFinding[] = [];
  readonly #other: UnpinnedPart[] = [];
  #comfyui: { version?: string; commit?: string; problem?: Problem } = {};
  #comfyuiFolder: string | undefined;
  #folder = '/';
  gpu: string | undefined;

  /** Follows the commands of a shell script that starts in the current folder. */
  run(script: string, variables: ReadonlyMap<string, string> = new Map()): void {
    const before = this.#folder;
    for (const command of shellCommands(script, variables)) this.#follow(command);
    // Each RUN is a shell of its own.
    this.#folder = before;
  }

  changeFolder(folder: string): void {
    this.#folder = path.resolve(this.#folder, folder);
  }

  addModel(model: ModelFinding): void {
    this.#models.push(model);
  }

  addOther(part: UnpinnedPart): void {
    this.#other.push(part);
  }

  setVersion(ref: string): void {
    this.#setComfyui(ref);
  }

  /** Files that come from beside the source: nothing public has them. */
  copy(source: string, target: string): void {
    const place = path.resolve(this.#folder, target);
    if (!/(?:^|\/)(?:models|custom_nodes)(?:\/|$)/.test(place) && !/snapshot.*\.json$/.test(source)) return;
    const isSnapshot = /snapshot.*\.json$/.test(source);
    const isNode = place.includes('custom_nodes') || isSnapshot;
    this.#other.push({
      part: isNode ? 'node' : 'model',
      name: source,
      code: 'copied_file',
      problem: `It is copied from beside the source to ${place}.`,
      action: isSnapshot
        ? 'Read that snapshot too: it names the nodes.'
        : isNode
          ? 'Push it to a repository that the build can read, and add that to customNodes with its commit.'
          : 'Upload it where the build can fetch it over https, and add it to models with that address.',
      known: {},
    });
  }

  findings(kind: EnvironmentKind): Findings {
    const problem: Problem = this.#comfyui.problem ?? {
      code: 'version_unknown',
      problem: 'It does not say which release of ComfyUI it installs.',
      action: 'Write the release that works for you into comfyui.version.',
    };
    return {
      kind,
      comfyui: { ...this.#comfyui, ...(this.#comfyui.version === undefined ? { problem } : {}) },
      gpu: this.gpu,
      nodes: this.#nodes.map(({ folder: _folder, ...node }) => node),
      models: this.#models,
      other: this.#other,
    };
  }

  #follow(command: ShellCommand): void {
    const [program = '', ...rest] = command;
    switch (path.basename(program)) {
      case 'cd':
        this.changeFolder(rest[0] ?? '/');
        break;
      case 'git':
        this.#git(rest);
        break;
      case 'comfy':
        this.#comfy(rest);
        break;
      case 'comfy-node-install':
        for (const name of commandLine(rest, new Set()).words) this.#addNamed(name);
        break;
      case 'wget':
      case 'curl':
      case 'aria2c':
        this.#download(path.basename(program), rest);
        break;
      case 'hf':
      case 'huggingface-cli':
        this.#huggingFace(rest);
        break;
      default:
    }
  }

  #git(command: ShellCommand): void {
    const { options, words } = commandLine(
      command,
      new Set(['-b', '--branch', '--depth', '-C', '-c', '--filter', '-o', '--origin', '-j']),
    );
    const [verb, ...rest] = words;
    const within = path.resolve(this.#folder, options.get('-C') ?? '.');
    if (verb === 'clone') this.#clone(within, rest, options.get('-b') ?? options.get('--branch'));
    else if (verb === 'checkout' || verb === 'switch' || verb === 'reset')
      this.#checkout(within, rest.at(-1));
  }

  #clone(within: string, [address, target]: readonly string[], ref: string | undefined): void {
    if (address === undefined) return;
    const { url, hadSecret } = publicRepository(address);
    const folder = path.resolve(within, target ?? lastPart(address));
    if (address.includes('${')) {
      this.#addComputed('node', withoutSecrets(address).url);
      return;
    }
    if (url !== undefined && isComfyui(url)) {
      this.#comfyuiFolder = folder;
      if (ref !== undefined) this.#setComfyui(ref);
      return;
    }
    if (!folder.split('/').includes('custom_nodes')) return;
    const problem: Problem | undefined = hadSecret
      ? {
          code: 'private_repository',
          problem: 'Its address has a user name or token: others cannot read it.',
          action:
            'Make the repository public, or give the build a read-only key of its own; never a token in endpoint.json.',
        }
      : undefined;
    this.#nodes.push({
      name: lastPart(folder),
      repository: url,
      ref,
      folder,
      ...(problem === undefined ? {} : { problem }),
    });
  }

  #checkout(within: string, ref: string | undefined): void {
    if (ref === undefined) return;
    const node = this.#nodes.find(({ folder }) => folder === within);
    if (node !== undefined) {
      if (COMMIT.test(ref)) node.commit = ref;
      else node.ref = ref;
    } else if (within === this.#comfyuiFolder) this.#setComfyui(ref);
  }

  #setComfyui(ref: string): void {
    const version = releaseVersion(ref);
    if (version !== undefined) {
      this.#comfyui = { version };
      return;
    }
    this.#comfyui = {
      ...(COMMIT.test(ref) ? { commit: ref } : {}),
      problem: {
        code: 'version_unknown',
        problem: `It installs ComfyUI ${ref}, which is no release.`,
        action: 'Write the release that works for you into comfyui.version.',
      },
    };
  }

  #comfy(command: ShellCommand): void {
    const valued = new Set([
      '--version',
      '--commit',
      '--workspace',
      '--mode',
      '--channel',
      '--url',
      '--relative-path',
      '--filename',
      '--set-civitai-api-token',
      '--set-hf-api-token',
      '--cuda-version',
      '--user-directory',
    ]);
    const { options, words } = commandLine(command, valued);
    const [first, second, ...rest] = words;
    if (first === 'install') {
      const ref = options.get('--commit') ?? options.get('--version');
      if (ref !== undefined) this.#setComfyui(ref);
    } else if (first === 'node' && (second === 'install' || second === 'registry-install')) {
      for (const name of rest) this.#addNamed(name);
    } else if (first === 'model' && second === 'download') {
      const url = options.get('--url') ?? '';
      const target = path.join(options.get('--relative-path') ?? '', options.get('--filename') ?? '');
      const isSecret = options.has('--set-civitai-api-token') || options.has('--set-hf-api-token');
      this.#addModelFrom(url, `/${target}`, options.get('--filename') !== undefined, isSecret);
    }
  }

  /** A package as `comfy node install` takes it: `id`, `id@version`, or the address of a repository. */
  #addNamed(name: string): void {
    if (name.includes('${')) {
      this.#addComputed('node', withoutSecrets(name).url);
      return;
    }
    if (/^(?:https?:|git@)/.test(name)) {
      const { url } = publicRepository(name);
      this.#nodes.push({ name: lastPart(name), repository: url });
      return;
    }
    const [id = name, version] = name.split('@');
    const isVersion = version !== undefined && !/^(?:latest|nightly)$/.test(version);
    this.#nodes.push({ name: id, registry: { id, version: isVersion ? version : undefined } });
  }

  #download(program: string, command: ShellCommand): void {
    const valued = {
      wget: new Set([
        '-O',
        '--output-document',
        '-P',
        '--directory-prefix',
        '--header',
        '-t',
        '--tries',
        '-T',
      ]),
      curl: new Set([
        '-o',
        '--output',
        '-H',
        '--header',
        '--output-dir',
        '--retry',
        '-u',
        '--user',
        '-A',
        '--create-dirs',
      ]),
      aria2c: new Set(['-o', '--out', '-d', '--dir', '-x', '-s', '-k', '--header']),
    }[program];
    const { options, words } = commandLine(command, valued ?? new Set());
    const url = words.find((word) => /^https?:/.test(word));
    if (url === undefined) return;
    const option = (...names: string[]) =>
      names.map((name) => options.get(name)).find((value) => value !== undefined && value !== '');
    const folder = option('-P', '--directory-prefix', '--output-dir', '-d', '--dir');
    const file = option('-O', '--output-document', '-o', '--output', '--out');
    const header = option('--header', '-H', '-u', '--user') ?? '';
    const isSecret =
      /authorization|bearer|token|cookie/i.test(header) || options.has('-u') || options.has('--user');
    this.#addModelFrom(url, path.join(folder ?? '', file ?? ''), file !== undefined, isSecret);
  }

  #huggingFace(command: ShellCommand): void {
    const { options, words } = commandLine(
      command,
      new Set([
        '--local-dir',
        '--revision',
        '--token',
        '--repo-type',
        '--cache-dir',
        '--include',
        '--exclude',
      ]),
    );
    const [verb, repository, ...files] = words;
    if (verb !== 'download' || repository === undefined) return;
    const revision = options.get('--revision') ?? 'main';
    if (files.length === 0 || repository.includes('${')) {
      this.#addComputed('model', repository);
      return;
    }
    for (const file of files) {
      const url = `https://huggingface.co/${repository}/resolve/${revision}/${file}`;
      this.#addModelFrom(
        url,
        path.join(options.get('--local-dir') ?? '', file),
        true,
        options.has('--token'),
      );
    }
  }

  #addModelFrom(address: string, target: string, isFile: boolean, isSecret: boolean): void {
    if (address.includes('${') || target.includes('${')) {
      this.#addComputed('model', withoutSecrets(address).url);
      return;
    }
    const { url, hadSecret } = withoutSecrets(address);
    const place = path.resolve(this.#folder, target);
    const folder = isFile ? path.dirname(place) : place;
    const inModels = /(?:^|\/)models\/(.+)$/.exec(folder)?.[1];
    const named = isFile ? path.basename(place) : decodeURIComponent(lastPart(url.replace(/[?#].*$/, '')));
    // Archives, scripts and what lands elsewhere are no models.
    if (inModels === undefined && !/\.(?:safetensors|sft|ckpt|pt|pth|bin|gguf|onnx)$/i.test(named)) return;
    const problem: Problem | undefined =
      isSecret || hadSecret
        ? {
            code: 'private_source',
            problem: `${url} is fetched with a token.`,
            action:
              'Put a copy where the build can fetch it, or give the build a secret of its own; never a token in endpoint.json.',
          }
        : undefined;
    this.#models.push({
      filename: named,
      directory: inModels,
      url: url.replace(/\?download=true$/, ''),
      ...(problem === undefined ? {} : { problem }),
    });
  }

  #addComputed(part: 'node' | 'model', text: string): void {
    this.#other.push({
      part,
      name: text,
      code: 'computed',
      problem: `"${text}" is put together when it runs, or names a whole repository.`,
      action:
        part === 'node'
          ? 'Add what it installs to customNodes with repository and commit.'
          : 'Add each file that it fetches to models.',
      known: {},
    });
  }
}
