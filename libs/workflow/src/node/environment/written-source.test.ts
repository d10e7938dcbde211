/** Sources that are one file: snapshots, comfy-build.yaml, Dockerfiles, Modal scripts; three or more of each. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { parseNodeMap } from '../../inventory/node-map.ts';
import { type Environment, type EnvironmentOptions, readEnvironment } from './environment.ts';
import type { PinResolver } from './pin-resolver.ts';

const A = 'a'.repeat(40);
const B = 'b'.repeat(40);
const SHA = 'c'.repeat(64);

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'source-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function read(
  name: string,
  content: string | object,
  options: EnvironmentOptions = {},
): Promise<Environment> {
  const file = path.join(folder, name);
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
  return readEnvironment(file, options);
}

function codes({ unpinned }: Environment): Record<string, string> {
  return Object.fromEntries(unpinned.map(({ name, code }) => [name, code]));
}

/** Knows every file of Hugging Face and every branch, except what is private. */
const resolver: PinResolver = {
  file: (url) =>
    Promise.resolve(
      url.includes('private')
        ? 'private'
        : url.includes('huggingface.co')
          ? { url: url.replace('/main/', `/${A}/`), size: 10, sha256: SHA }
          : undefined,
    ),
  commit: (repository) => Promise.resolve(repository.includes('private') ? 'private' : { commit: B }),
};

describe('a ComfyUI-Manager snapshot', () => {
  const kj = 'https://github.com/kijai/ComfyUI-KJNodes';

  it('pins repositories, and lists packages of the registry and single files', async () => {
    const snapshot = {
      comfyui: A,
      git_custom_nodes: {
        [kj]: { hash: A, disabled: false },
        'https://github.com/someone/off': { hash: B, disabled: true },
      },
      cnr_custom_nodes: { 'comfyui-impact-pack': '8.15.3' },
      file_custom_nodes: [
        { filename: 'websocket_image_save.py', disabled: false },
        { filename: 'my_node.py', disabled: false },
      ],
      pips: { 'torch==2.8.0': '' },
    };
    const environment = await read('2026-01-31_snapshot.json', snapshot);
    expect(environment).toMatchObject({
      kind: 'manager-snapshot',
      comfyui: undefined,
      customNodes: [
        { name: 'ComfyUI-KJNodes', repository: kj, commit: A },
        { name: 'comfyui-impact-pack', registry: 'comfyui-impact-pack', version: '8.15.3' },
      ],
    });
    expect(codes(environment)).toEqual({
      ComfyUI: 'version_unknown',
      'my_node.py': 'single_file',
    });
    expect(environment.unpinned.find(({ part }) => part === 'comfyui')?.action).toContain(
      `git describe --tags ${A}`,
    );
  });

  it('in YAML, of somebody with private and local nodes', async () => {
    const environment = await read(
      'snapshot.yaml',
      `comfyui: null\ngit_custom_nodes:\n  git@github.com:studio/grade.git:\n    hash: ${B}\n    disabled: false\n  https://x:ghp_abc@github.com/studio/private:\n    hash: ${B}\n    disabled: false\n  /home/me/nodes:\n    hash: ${A}\n    disabled: false\ncnr_custom_nodes: {}\nfile_custom_nodes: []\n`,
    );
    expect(environment.customNodes).toEqual([
      { name: 'grade', repository: 'https://github.com/studio/grade', commit: B },
    ]);
    expect(codes(environment)).toEqual({
      ComfyUI: 'version_unknown',
      private: 'private_repository',
      nodes: 'no_repository',
    });
    expect(JSON.stringify(environment)).not.toContain('ghp_abc');
  });

  it('of comfy-cli, for a workflow that uses a part of it', async () => {
    const nodeMap = parseNodeMap({
      [kj]: [['ImageResizeKJv2'], {}],
      'https://github.com/a/other': [['Other'], {}],
    });
    const workflow = { 1: { class_type: 'ImageResizeKJv2', inputs: {} } };
    const git_custom_nodes = { [`${kj}.git`]: { hash: A }, 'https://github.com/a/other': { hash: B } };
    const environment = await read(
      'comfy-lock.yaml',
      { custom_nodes: { comfyui: A, git_custom_nodes, cnr_custom_nodes: {} } },
      { workflow, nodeMap },
    );
    expect(environment).toMatchObject({
      customNodes: [{ repository: kj, commit: A }],
      classes: { ImageResizeKJv2: 'ComfyUI-KJNodes' },
      missingClasses: [],
      unused: ['other'],
    });
  });

  it('keeps what may have a class that is nowhere found', async () => {
    const workflow = { 1: { class_type: 'Nowhere', inputs: {} } };
    const environment = await read(
      'snapshot.json',
      { git_custom_nodes: { [kj]: { hash: A } } },
      { workflow },
    );
    expect(environment.customNodes).toHaveLength(1);
    expect(codes(environment)).toMatchObject({ Nowhere: 'missing_node' });
  });

  it('must be one', async () => {
    await expect(read('package.json', { name: 'x' })).rejects.toThrow('neither a ComfyUI-Manager snapshot');
    await expect(read('broken.json', '{')).rejects.toMatchObject({ code: 'invalid_environment' });
    await expect(read('broken.yaml', 'a: [')).rejects.toMatchObject({ code: 'invalid_environment' });
  });
});

describe('a comfy-build.yaml', () => {
  const build = (definition: object) => ({
    schema: 'comfy-build/1',
    id: null,
    name: 'x',
    definition: { schema: 'distribution-definition/0', ...definition },
  });

  it('pins what has a commit or is resolved', async () => {
    const environment = await read(
      'comfy-build.yaml',
      build({
        baseComfyVersion: 'v0.3.64',
        customNodes: [
          { name: 'kj', repository: 'https://github.com/kijai/ComfyUI-KJNodes', commit: A },
          {
            name: 'vhs',
            repository: 'https://github.com/Kosinkadink/ComfyUI-VideoHelperSuite',
            gitRef: 'main',
          },
        ],
        models: [
          {
            type: 'checkpoints',
            filename: 'base.safetensors',
            sourceUri: 'https://huggingface.co/a/b/resolve/main/base.safetensors',
            sha256: SHA,
          },
        ],
      }),
      { resolver },
    );
    expect(environment).toMatchObject({
      comfyui: { version: '0.3.64' },
      customNodes: [
        { name: 'kj', commit: A },
        { name: 'vhs', commit: B },
      ],
      models: [
        {
          url: `https://huggingface.co/a/b/resolve/${A}/base.safetensors`,
          directory: 'checkpoints',
          size: 10,
          sha256: SHA,
        },
      ],
      unpinned: [],
    });
  });

  it('lists uploads, registry versions, private files and branches', async () => {
    const environment = await read(
      'comfy-build.yaml',
      build({
        baseComfyVersion: 'master',
        customNodes: [
          { name: 'uploaded', blobId: '1' },
          { name: 'Impact', id: 'comfyui-impact-pack', registryVersion: '8.15.3' },
          { name: 'closed', repository: 'https://github.com/studio/private' },
        ],
        models: [
          { type: 'loras', filename: 'mine.safetensors', blobId: '2' },
          {
            type: 'vae',
            filename: 'vae.safetensors',
            sourceUri: 'https://huggingface.co/studio/private/resolve/main/vae.safetensors',
          },
          {
            type: 'loras',
            filename: 'style.safetensors',
            sourceUri: 'https://example.com/style.safetensors?token=hf_abc',
            sha256: SHA,
          },
        ],
      }),
      { resolver },
    );
    expect(environment.customNodes).toEqual([
      { name: 'Impact', registry: 'comfyui-impact-pack', version: '8.15.3' },
    ]);
    expect(environment.models).toEqual([]);
    expect(codes(environment)).toEqual({
      ComfyUI: 'version_unknown',
      uploaded: 'no_repository',
      closed: 'private_repository',
      'mine.safetensors': 'no_public_source',
      'vae.safetensors': 'private_source',
      'style.safetensors': 'private_source',
    });
    expect(JSON.stringify(environment)).not.toContain('hf_abc');
  });

  it('without the network lists what it does not say', async () => {
    const environment = await read(
      'comfy-build.yaml',
      build({
        baseComfyVersion: '0.3.64',
        customNodes: [{ name: 'moving', repository: 'https://github.com/a/moving', gitRef: 'v1.0' }],
        models: [
          {
            type: 'loras',
            filename: 'a.safetensors',
            sourceUri: 'https://huggingface.co/a/b/resolve/main/a.safetensors',
            sha256: SHA,
          },
          {
            type: 'loras',
            filename: 'b.safetensors',
            sourceUri: 'https://civitai.com/api/download/models/1',
            sha256: SHA,
          },
        ],
      }),
    );
    expect(codes(environment)).toEqual({
      moving: 'moving_ref',
      'a.safetensors': 'moving_url',
      'b.safetensors': 'unverified_file',
    });
  });
});

describe('a Dockerfile', () => {
  it('of worker-comfyui', async () => {
    const environment = await read(
      'Dockerfile',
      `# clean base image
FROM runpod/worker-comfyui:5.5.1-base
RUN comfy node install --exit-on-fail comfyui-kjnodes@1.1.5 --mode remote
RUN comfy-node-install comfyui-impact-pack https://github.com/someone/nodes
RUN comfy model download --url https://huggingface.co/a/b/resolve/${A}/base.safetensors \\
    --relative-path models/checkpoints --filename base.safetensors
RUN wget -q -O models/loras/style.safetensors "https://civitai.com/api/download/models/1?token=civ_abc"
COPY my_nodes /comfyui/custom_nodes/my_nodes
COPY *snapshot*.json /
COPY requirements.txt /
`,
      { resolver },
    );
    expect(environment).toMatchObject({
      kind: 'dockerfile',
      comfyui: undefined,
      customNodes: [
        { name: 'comfyui-kjnodes', registry: 'comfyui-kjnodes', version: '1.1.5' },
        { name: 'nodes', commit: B },
      ],
    });
    expect(environment.models).toMatchObject([
      { directory: 'checkpoints', filename: 'base.safetensors', size: 10 },
    ]);
    expect(codes(environment)).toEqual({
      ComfyUI: 'version_unknown',
      'comfyui-impact-pack': 'registry_version',
      'style.safetensors': 'private_source',
      my_nodes: 'copied_file',
      '*snapshot*.json': 'copied_file',
    });
    expect(JSON.stringify(environment)).not.toContain('civ_abc');
  });

  it('that clones and checks out, with variables and continued lines', async () => {
    const environment = await read(
      'Dockerfile.gpu',
      `ARG COMFY=v0.3.64
FROM nvidia/cuda:12.8.0-runtime-ubuntu22.04 AS base
ENV COMFY_HOME=/opt/ComfyUI HF="https://huggingface.co/a/b/resolve/main"
RUN apt-get update && apt-get install -y git \\
    # a comment inside
    && git clone --depth 1 --branch \${COMFY} https://github.com/comfyanonymous/ComfyUI.git $COMFY_HOME
WORKDIR /opt/ComfyUI/custom_nodes
RUN git clone https://github.com/kijai/ComfyUI-KJNodes.git && cd ComfyUI-KJNodes && git checkout ${A} && pip install -r requirements.txt
RUN ["git", "clone", "https://github.com/a/exec-form", "exec-form"]
RUN <<EOF
git clone https://github.com/b/heredoc
git -C heredoc checkout ${B}
EOF
RUN git clone https://\${TOKEN}@github.com/studio/closed
RUN git clone https://github.com/c/library /tmp/library
RUN curl -L "\${HF}/vae.safetensors" -o /opt/ComfyUI/models/vae/vae.safetensors
RUN huggingface-cli download c/d unet.safetensors --local-dir /opt/ComfyUI/models/diffusion_models --revision ${B}
ADD https://huggingface.co/a/b/resolve/main/clip.safetensors /opt/ComfyUI/models/text_encoders/
`,
      { resolver },
    );
    expect(environment.comfyui).toEqual({ version: '0.3.64' });
    expect(environment.customNodes).toEqual([
      { name: 'ComfyUI-KJNodes', repository: 'https://github.com/kijai/ComfyUI-KJNodes', commit: A },
      { name: 'exec-form', repository: 'https://github.com/a/exec-form', commit: B },
      { name: 'heredoc', repository: 'https://github.com/b/heredoc', commit: B },
    ]);
    expect(environment.models.map(({ directory, url }) => [directory, url])).toEqual([
      ['vae', `https://huggingface.co/a/b/resolve/${A}/vae.safetensors`],
      ['diffusion_models', `https://huggingface.co/c/d/resolve/${B}/unet.safetensors`],
      ['text_encoders', `https://huggingface.co/a/b/resolve/${A}/clip.safetensors`],
    ]);
    expect(Object.values(codes(environment))).toEqual(['computed']);
  });

  it('with models in its base image, files of a private repository and a version', async () => {
    const environment = await read(
      'worker.dockerfile',
      `FROM runpod/worker-comfyui:5.5.1-flux1-dev
ARG COMFYUI_VERSION=0.3.64
ARG HF_TOKEN
RUN wget --header="Authorization: Bearer \${HF_TOKEN}" -O /comfyui/models/vae/ae.safetensors https://huggingface.co/black-forest-labs/private/resolve/main/ae.safetensors
COPY models/loras/ours.safetensors /comfyui/models/loras/
RUN git clone https://me:hunter2@github.com/studio/private /comfyui/custom_nodes/private
`,
    );
    expect(environment.comfyui).toEqual({ version: '0.3.64' });
    expect(codes(environment)).toEqual({
      'flux1-dev': 'no_public_source',
      'ae.safetensors': 'private_source',
      'models/loras/ours.safetensors': 'copied_file',
      private: 'private_repository',
    });
    expect(JSON.stringify(environment)).not.toContain('hunter2');
  });
});

describe('a Modal script', () => {
  it('like Modal’s own example', async () => {
    const environment = await read(
      'comfyapp.py',
      `import modal

image = (
    modal.Image.debian_slim(python_version="3.11")
    .apt_install("git")
    .pip_install("fastapi[standard]==0.115.4", "comfy-cli==1.4.1")
    .run_commands("comfy --skip-prompt install --fast-deps --nvidia --version 0.3.47")
)
image = image.run_commands(
    "comfy node install --fast-deps was-node-suite-comfyui@1.0.2"  # nodes
)

def hf_download():
    from huggingface_hub import hf_hub_download
    flux_model = hf_hub_download(
        repo_id="Comfy-Org/flux1-schnell",
        filename="flux1-schnell-fp8.safetensors",
        cache_dir="/cache",
    )
    subprocess.run(
        f"ln -s {flux_model} /root/comfy/ComfyUI/models/checkpoints/flux1-schnell-fp8.safetensors",
        shell=True, check=True,
    )

image = image.env({"HF_HUB_ENABLE_HF_TRANSFER": "1"}).run_function(hf_download, volumes={"/cache": vol})
image = image.add_local_file(Path(__file__).parent / "workflow_api.json", "/root/workflow_api.json")

@app.cls(scaledown_window=300, gpu="L40S", volumes={"/cache": vol})
class ComfyUI: ...
`,
      { resolver },
    );
    expect(environment).toMatchObject({
      kind: 'modal',
      comfyui: { version: '0.3.47' },
      gpu: 'L40S',
      customNodes: [{ name: 'was-node-suite-comfyui', registry: 'was-node-suite-comfyui', version: '1.0.2' }],
    });
    expect(environment.models).toEqual([
      {
        url: `https://huggingface.co/Comfy-Org/flux1-schnell/resolve/${A}/flux1-schnell-fp8.safetensors`,
        directory: 'checkpoints',
        filename: 'flux1-schnell-fp8.safetensors',
        size: 10,
        sha256: SHA,
      },
    ]);
    expect(codes(environment)).toEqual({});
  });

  it('with clones, constants and f-strings', async () => {
    const environment = await read(
      'app.py',
      `COMMIT = "${A}"
NODES = "/root/comfy/ComfyUI/custom_nodes"
image = image.run_commands(
    f"git clone https://github.com/kijai/ComfyUI-KJNodes {NODES}/ComfyUI-KJNodes",
    f"cd {NODES}/ComfyUI-KJNodes && git checkout {COMMIT}",
    "git clone https://github.com/a/newest "
    "/root/comfy/ComfyUI/custom_nodes/newest",
    "wget https://huggingface.co/a/b/resolve/main/style.safetensors -P /root/comfy/ComfyUI/models/loras",
    gpu="T4",
)
`,
      { resolver },
    );
    // Every text of run_commands is a shell of its own, so the checkout names its folder.
    expect(environment.customNodes).toEqual([
      { name: 'ComfyUI-KJNodes', repository: 'https://github.com/kijai/ComfyUI-KJNodes', commit: A },
      { name: 'newest', repository: 'https://github.com/a/newest', commit: B },
    ]);
    expect(environment.models).toMatchObject([{ directory: 'loras', filename: 'style.safetensors' }]);
    expect(codes(environment)).toEqual({ ComfyUI: 'version_unknown' });
    expect(environment.gpu).toBe('T4');
  });

  it('that computes, copies and needs tokens', async () => {
    const environment = await read(
      'serve.py',
      `image = (
    image.run_commands([f"comfy node install {name}" for name in node_names])
    .run_commands(install_script)
    .add_local_dir("../our_nodes", "/root/comfy/ComfyUI/custom_nodes/our_nodes")
)
def download(models):
    for model in models:
        hf_hub_download(repo_id=model["repo"], filename=model["file"])
    path = hf_hub_download("studio/closed", "vae.safetensors", token=os.environ["HF_TOKEN"])
    lora = hf_hub_download(repo_id="a/b", filename="loras/x.safetensors")
`,
    );
    expect(environment.customNodes).toEqual([]);
    expect(environment.unpinned.map(({ code }) => code)).toEqual(
      expect.arrayContaining([
        'computed',
        'copied_file',
        'private_source',
        'unknown_directory',
        'version_unknown',
      ]),
    );
    expect(codes(environment)).toMatchObject({
      'vae.safetensors': 'private_source',
      'x.safetensors': 'unknown_directory',
      '../our_nodes': 'copied_file',
      install_script: 'computed',
    });
  });
});
