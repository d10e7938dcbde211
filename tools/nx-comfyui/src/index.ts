export { ENDPOINT_APPS, type EndpointOutline, endpointProject, readOutline } from './endpoint-project.ts';
export { createNodes, createNodesV2, ENDPOINT_GLOB } from './plugin.ts';
