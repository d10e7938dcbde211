export { checkEndpoint, listEndpoints, loadEndpoint } from './endpoint-folder.ts';
