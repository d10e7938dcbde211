import { parseEndpointConfig } from '@ryla/workflow';

import { type DesiredEndpoint, desiredRunpodEndpoint, type DesiredOptions } from './desired-endpoint.ts';

/** An image by digest; the digit stands for its content. */
export function image(digit = 'a'): string {
  return `registry.example/ryla-runpod@sha256:${digit.repeat(64)}`;
}

/** What an endpoint.json with these parts means on RunPod. */
export function desire(
  name = 'photo-finish',
  options: Partial<DesiredOptions> & { readonly config?: object } = {},
): DesiredEndpoint {
  const { config, ...rest } = options;
  return desiredRunpodEndpoint(
    parseEndpointConfig({
      name,
      title: name,
      gpu: ['L40S'],
      scaling: { maxContainers: 2 },
      timeouts: { execution: 120 },
      ...config,
    }),
    { image: image(), fingerprint: 'f1', ...rest },
  );
}
